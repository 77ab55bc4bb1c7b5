"""The tests: `pytest --pyargs mobilebert_conformance.suite -p mobilebert_conformance.plugin`."""
