"""The search: strategies know only backbones and scores; one file, `evaluate`, trains."""
