"""``python -m tests.soak``: see soak.py. Light: workers that are spawned import it as well."""

if __name__ == "__main__":
    from .soak import main

    main()
