# Lets `flask create-admin` and the other commands find the service.
FLASK_APP=standart.__main__:create_app
