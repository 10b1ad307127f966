"""The bundled trainer: from a dataset to a classifier in standard Hugging Face form.

Nothing here is imported by the factory itself; torch and transformers come with the extra `train`.
"""
