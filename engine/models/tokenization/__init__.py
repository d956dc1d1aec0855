"""From text and chats to token ids, as the model's own tokenizer and template say."""
