"""Makes the API's OpenAPI document; `python -m rest_api.description` writes it.

The document is committed and served as it is: nothing of this runs in the function.
"""
