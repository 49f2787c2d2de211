"""The HTTP connection pool engine for trio."""
