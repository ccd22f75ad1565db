"use strict";

const element = document.getElementById("swagger-ui");

SwaggerUIBundle({
  domNode: element,
  url: element.dataset.url,
  deepLinking: true,
  // A token that is typed in here is gone with the page.
  persistAuthorization: false,
  // The validator badge would ask another host.
  validatorUrl: null,
});
