"""The way back: Sales Insight's fields of Marketo's persons into the leads and contacts of Dynamics."""
