"""Built-in offices: a drop folder, and the sidecar API's inbox for products that can call HTTP."""
