"""A small Azure Functions host: it runs a Python v2 function app the way the platform does, without the platform.

The *host* talks to Service Bus, serves HTTP and keeps the timers. A *worker* imports `function_app.py`, converts
trigger data with azure-functions' own binding converters and runs a function. Every function has a worker process of
its own, as Flex Consumption scales every function on instances of its own: nothing in one function's memory is seen
by another.
Supported triggers: serviceBusTrigger (queues), httpTrigger, timerTrigger. Output bindings are refused.
"""
