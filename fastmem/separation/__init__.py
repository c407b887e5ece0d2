"""Random features that make classes linearly separable, and the certificate that they do."""
