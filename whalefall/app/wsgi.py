"""The built-in application for Gunicorn: `whalefall.app.wsgi:application`."""

from whalefall.app.factory import create_app

application = create_app()
