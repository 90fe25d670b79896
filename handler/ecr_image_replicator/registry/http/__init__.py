"""HTTP: everything that uses requests, urllib3, http.client, ssl or sockets."""
