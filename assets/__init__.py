"""Files that the package and its notebooks use: see README.md. Installed as `bark_jax.assets`."""
