"""What a client of the management API makes of its answers, and the token that it asks with."""

from emulators.servicebus import connection_string
from emulators.servicebus.administration import QueueCounts, counts_in, shared_access_token
from emulators.servicebus.sas import Claim, check_token

FEED = """<feed xmlns="http://www.w3.org/2005/Atom">{}</feed>"""
ENTRY = """<entry><title type="text">{name}</title><content><QueueDescription
 xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
 xmlns:d="http://schemas.microsoft.com/netservices/2011/06/servicebus"><CountDetails><d:ActiveMessageCount>{active}</d:ActiveMessageCount>
<d:DeadLetterMessageCount>3</d:DeadLetterMessageCount><d:ScheduledMessageCount>2</d:ScheduledMessageCount></CountDetails>
</QueueDescription></content></entry>"""


def test_the_brokers_feed_gives_the_counts_of_every_queue() -> None:
    feed = FEED.format(ENTRY.format(name="persons", active=7) + ENTRY.format(name="companies", active=0))
    assert counts_in(feed) == {"persons": QueueCounts(7, 2, 3), "companies": QueueCounts(0, 2, 3)}
    assert counts_in(feed)["persons"].waiting == 9


def test_the_token_for_the_management_api_is_one_that_the_emulator_accepts() -> None:
    token = shared_access_token("http://127.0.0.1:5672/", connection_string(5672), now=1000.0)
    grant = check_token(token, lambda: 1000.0)
    assert grant.allows(Claim.MANAGE, "$resources/queues", 1000.0)
    assert not grant.allows(Claim.MANAGE, "$resources/queues", 5000.0)
