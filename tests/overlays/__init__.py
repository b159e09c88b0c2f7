"""What the overlays do in guests: one cluster a file. `./xc test overlays` runs them all."""
