module scrambler

go 1.19
