"""What operators observe: metrics, log formats and limits, the record of a request, trace context and spans."""
