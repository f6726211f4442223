"""The adapters to Azure: Service Bus and Table Storage."""
