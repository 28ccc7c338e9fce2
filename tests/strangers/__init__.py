"""Operations as strangers to the package write them, right and with one mistake each: what does a certificate say?

``python -m tests.strangers`` prints how many right ones are refused, how many mistakes are found, and for how many of those a
hint names the cause. The operations are in ``operations/*.toml``. Those in files whose names begin with ``aside`` are set
aside: nobody who improves the certificate looks at them. Once somebody has, new ones take their place.
"""
