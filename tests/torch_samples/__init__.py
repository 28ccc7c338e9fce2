"""Operations beside PyTorch's over the sample inputs that PyTorch publishes for its own tests."""
