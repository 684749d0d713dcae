"""Parts of `python -m medprior.bench.gpu`: checks against the CPU, speed of steps, and real training runs."""
