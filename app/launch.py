"""``streamlit run`` as ``gearbox run`` gives it: nothing is collected until all that the server is made of is there."""

from __future__ import annotations

from engine.importing import begin_imports


def main() -> None:
    """Serve; the arguments are streamlit's. The server's own start says that the imports are done."""
    begin_imports()
    from streamlit.web.cli import main as streamlit

    streamlit(prog_name="streamlit")


if __name__ == "__main__":
    main()
