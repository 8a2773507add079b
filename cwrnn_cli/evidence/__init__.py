"""Whether published numbers are what the raw rows beside them say: `cwrnn verify`."""
