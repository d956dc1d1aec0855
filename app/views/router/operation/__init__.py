"""The Router lab's steps of using a profile and watching it."""
