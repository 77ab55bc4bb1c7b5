"""What MobileBERT is, independent of any framework.

Configuration, head table, weight schema, outputs, inputs, losses, initial values, tokenizers,
checkpoints and the backend registry. This package imports NumPy, safetensors and tokenizers, never
PyTorch, TensorFlow or JAX. Start with `config`, then `heads`, `schema` and `backend`.
"""
