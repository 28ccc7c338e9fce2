"""The script needs PyTorch and is no test, so pytest does not import it when it looks for doctests."""

collect_ignore = ["make_golden.py"]
