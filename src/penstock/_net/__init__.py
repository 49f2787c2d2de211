"""Floor 2: bytes over the network, raw or inside TLS. Imports the floors below and trio."""
