module mconnect

go 1.19
