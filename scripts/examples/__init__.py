"""Small programs that use the package, and draw or check what it wrote."""
