"""The topology of docker-compose.yml as plain processes, with the demo and a load on it."""
