"""Tables and pictures of how fastmem scales, beside its peers."""
