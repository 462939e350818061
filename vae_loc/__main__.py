"""`python -m vae_loc`: the same as the `vae-loc` command."""

from vae_loc.cli import main

if __name__ == "__main__":
    main()
