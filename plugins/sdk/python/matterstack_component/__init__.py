"""What stands between functions over plain documents and the WIT contract."""
