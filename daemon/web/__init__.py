"""The dashboard: pages made on the server from the registry's rows, and actions that go through the registry's own rules. Asks nobody outside."""
