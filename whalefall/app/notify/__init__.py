"""WHO IS TOLD: failed, missed and recovered jobs go out by webhook and by mail, once, from whichever process is up.

    incidents.py   DECIDES: what is new, what is over, what is too much; no clock, SQL, thread or socket
    watch.py       LOOKS: one process at a time asks the watchman and writes the outbox
    webhook.py, mail.py      SEND: one message to one receiver, within a time limit
    crew.py        the threads of a process: one that looks, one for each channel that sends

What is to be told is a row in the outbox (`store/notices.py`) before anybody sends it: several workers and replicas
claim rows by compare-and-set, so a notice is sent by one of them. Only a process that dies between sending and
writing it down leaves one that is sent again, with the same id. No request and no job waits for any of this. The log
tells the same, also without a receiver in the settings.
"""
