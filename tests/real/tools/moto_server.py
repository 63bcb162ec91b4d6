"""moto's server, answering one request at a time.

moto looks at the condition of a put in one step and writes in another, on a thread for each
connection: of two who create one key at once, both may win. S3 does not do that.
"""

import threading

from moto import server

LOCK = threading.Lock()


class OneAtATime(server.DomainDispatcherApplication):
    def __call__(self, environ, start_response):
        with LOCK:
            return super().__call__(environ, start_response)


server.DomainDispatcherApplication = OneAtATime
server.main()
