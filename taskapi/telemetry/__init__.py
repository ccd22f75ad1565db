"""What operators observe: log formats and limits, the record of a request, trace context and spans."""
