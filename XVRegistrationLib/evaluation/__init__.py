"""How good a registration is: metrics, X-rays simulated by an independent renderer, pictures and reports."""
