"""An HTTP server that speaks OpenAI's API; `app.create_app` puts it together."""
