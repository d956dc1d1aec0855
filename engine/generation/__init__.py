"""What happens to a token between the logits and the reader: chosen, turned to text, recorded."""
