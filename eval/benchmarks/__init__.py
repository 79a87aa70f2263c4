"""The benchmarks: each is data in a table; loaders, a user's own rows, an audit before inference, and the numbers of the paper."""
