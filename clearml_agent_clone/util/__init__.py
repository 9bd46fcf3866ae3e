"""Small pieces that every room needs and no room owns: files, processes, names. They import only ``errors``."""
