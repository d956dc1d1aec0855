"""The forward pass: loaded weights and the decoders that compute logits from them."""
