"""A scripted stand-in for a language model, by Bedrock's protocol and by OpenAI's.

    python -m devstack.demo_model --port 4567 [--host 127.0.0.1] [--word-delay-ms 100]

It streams word by word, says that it is scripted and quotes what it was asked. Where the request
offers these tools it asks for `notes.add` on a line "note: TEXT" and for `clock.now` on "what time is
it", and quotes what came of it. Tests tell it to be slow, to fail or to ask for other calls, by
`PUT /control` or by a directive in the question (see `behaviour`).
"""
