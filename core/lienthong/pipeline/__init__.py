"""The two straight paths and the worker that walks them. The only callers of hooks."""
