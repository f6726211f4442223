"""A small Azure Functions host: it runs a Python v2 function app the way the platform does, without the platform.

Two processes, as in Azure. The *host* talks to Service Bus, serves HTTP and keeps the timers. The *worker* imports
`function_app.py`, converts trigger data with azure-functions' own binding converters and runs the functions.
Supported triggers: serviceBusTrigger (queues), httpTrigger, timerTrigger. Output bindings are refused.
"""
