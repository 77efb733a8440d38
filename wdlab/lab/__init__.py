"""The widgets: dials, live runs, predictions; thin over the rest of wdlab."""
