"""Drawing with Pillow, in worker threads."""
