"""The `xvregistration` command."""
