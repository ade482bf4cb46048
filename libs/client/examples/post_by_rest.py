"""Creates a channel, posts, and reads the history: REST alone, nothing async.

python post_by_rest.py REST_URL TOKEN
"""

import sys

from chat_client import AgentChanges, ChatClient


def main(rest_url: str, token: str) -> None:
    with ChatClient(rest_url, token=token) as client:
        channel = client.create_channel("notes", agent=AgentChanges(mode="off"))
        client.post_message(channel.channel_id, "Remember the milk")
        for message in client.list_messages(channel.channel_id).items:
            print(message.seq, message.sender.id, message.text)


main(*sys.argv[1:3])
