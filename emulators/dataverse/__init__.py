"""A strict, in-memory stand-in for one Dataverse environment and the Microsoft login in front of it.

It answers the part of the Dataverse Web API that integrations use, and the Microsoft Entra endpoints that MSAL
calls, under the vendors' own host names. Writes post change notifications as registered service endpoints and
webhooks receive them. Only for development, tests, the demo and the benchmark.
"""
